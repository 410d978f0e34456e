package demo

import "strings"

var (
	firstNames = strings.Fields(`Ada Alan Amina Anders Barbara Bela Bjarne Carla Chen Clara Dennis Dorothy Edsger Elif Emmy Farid
		Frances Giulia Grace Guido Hana Hedy Ines Ivan Jamila Joan Juan Karin Ken Kofi Lena Leslie Linus Lucia Mai Margaret
		Mary Mehmet Nadia Niklaus Noor Olga Omar Pavel Priya Radia Rosa Samir Sofia Tim Tove Ursula Vera Wei Yasmin Yuki Zoe`)
	lastNames = strings.Fields(`Abe Adeyemi Allen Andersen Babbage Bauer Berg Borg Clarke Costa Diaz Dijkstra Dubois Eriksen Ferrari
		Fischer Garcia Goldberg Hamilton Hopper Ito Ivanova Jansen Johnson Kaya Keller Khan Kim Kovacs Lamarr Lamport Larsen
		Lee Liskov Lopez Lovelace Mbeki Meyer Moreau Nguyen Noether Novak Okafor Olsen Park Perlman Petrov Ritchie Rossi Sato
		Schmidt Silva Singh Suzuki Torvalds Turing Weber Wirth Yilmaz Zhang`)
	cities = strings.Split(`Amsterdam,Athens,Auckland,Bangalore,Barcelona,Berlin,Bogota,Boston,Cairo,Cape Town,Chicago,Copenhagen,
Dakar,Dublin,Hamburg,Hanoi,Helsinki,Istanbul,Jakarta,Kyoto,Lagos,Lima,Lisbon,London,Lyon,Madrid,Melbourne,Milan,Montreal,Mumbai,
Nairobi,New York,Oslo,Paris,Porto,Prague,Quito,Reykjavik,Riga,Rome,Sao Paulo,Seoul,Singapore,Stockholm,Tokyo,Toronto,Vienna,Warsaw,
Zagreb,Zurich`, ",")
	materials  = strings.Fields("Bamboo Brass Ceramic Copper Cotton Glass Granite Leather Linen Marble Oak Paper Pine Silk Steel Walnut Wool")
	things     = strings.Fields("backpack basket bench bottle bowl chair clock cup desk frame hat jacket kettle lamp mirror mug notebook pan pen pillow plate rug scarf shelf table teapot tray vase wallet")
	categories = strings.Fields("kitchen office garden travel home gifts")
	deeds      = strings.Fields("viewed bought rated liked shared returned reviewed")
)

func init() {
	for i := range cities {
		cities[i] = strings.TrimSpace(cities[i])
	}
}
